"""Files of any format as one kind of table: named columns of text."""

from .columnar import read_columnar, read_json_lines
from .compressed import decompress, read_whole
from .guesses import guess_columns
from .table import MAX_SHOWN, Layout, TextTable
from .text import DOUBLE_COLON, find_values_in_header, read_first_line, read_text

__all__ = [
    "DOUBLE_COLON",
    "MAX_SHOWN",
    "Layout",
    "TextTable",
    "decompress",
    "find_values_in_header",
    "guess_columns",
    "read_columnar",
    "read_first_line",
    "read_json_lines",
    "read_text",
    "read_whole",
]
