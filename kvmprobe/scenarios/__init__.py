"""What is tested: ops, the kernel calls they lower to, scenarios made of them.

Layer: scenarios, pure.
"""
