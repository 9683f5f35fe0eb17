"""Whether scripts for PowerShell can be parsed: powershell.py FILE… Run by scripts/lint.sh, whose Python has the grammar."""

import sys
from pathlib import Path

import tree_sitter_powershell
from tree_sitter import Language, Parser


def faults(node):
    if node.type == "ERROR" or node.is_missing:
        yield node.start_point.row + 1
    for child in node.children:
        yield from faults(child)


parser = Parser(Language(tree_sitter_powershell.language()))
wrong = [f"{name}:{line}: not PowerShell" for name in sys.argv[1:] for line in faults(parser.parse(Path(name).read_bytes()).root_node)]
if wrong:
    sys.exit("\n".join(wrong))
