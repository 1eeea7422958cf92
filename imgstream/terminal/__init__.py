"""Tables for the terminal.

console.py         where results go: stdout
tables.py          names and numbers shown safely
check_report.py    `imgstream check`
parity_report.py   `imgstream check --parity`
profile_report.py  `imgstream bench`
"""
