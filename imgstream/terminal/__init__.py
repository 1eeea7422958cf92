"""Prints results on the terminal.

console.py         the console for results: stdout
tables.py          tables with safe names and numbers
check_report.py    `imgstream check`
parity_report.py   `imgstream check --parity`
profile_report.py  `imgstream bench`
plan_report.py     `imgstream train --dry-run`
"""
