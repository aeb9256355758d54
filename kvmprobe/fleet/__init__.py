"""Campaigns: one run on the workers of a dask.distributed scheduler.  Needs ``kvmprobe[fleet]``.

What is trusted: dask's protocol executes pickles that any member sends, by design and without a
switch (a message can have a pickled frame whatever deserializers are allowed, exceptions are
pickles, and ``distributed.scheduler.pickle: false`` is refused since 2024).  So whoever has a
certificate of a fleet can run code on each of its machines and on the client's, as the user who
runs dask there, and the fleet's certificates are the boundary of trust.

What a kernel under test, a guest or an emulated machine writes is never given to pickle: a worker
returns bytes, which are compressed JSON, and :mod:`kvmprobe.fleet.parcel` reads them with the
parsers that read run directories.
"""
