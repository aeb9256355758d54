"""All parsers of what others write.

``tests/property/test_parsers.py`` damages a few inputs of each; ``scripts/fuzz_parsers`` damages
as many as a time allows, guided by coverage.
"""

from tests.support import (
    parsers_of_archives,
    parsers_of_documents,
    parsers_of_guests,
    parsers_of_runs,
)

PARSERS = {
    parser.name: parser
    for module in (parsers_of_guests, parsers_of_archives, parsers_of_documents, parsers_of_runs)
    for parser in module.PARSERS
}
