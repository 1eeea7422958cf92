"""The site that `make docs` builds from docs/: how it looks, and the pages that are made from the program.

mkdocs.yml           pages, theme and plugins; here and not at the top level, so that docs/ stays a folder of plain Markdown
hooks.py             what mkdocs calls: fills the pages that are made, lists decisions and tutorials, refuses assets from elsewhere
command_pages.py     the command line's options, as Markdown
folder_tables.py     what each folder of the package holds, from its docstring
external_assets.py   what a page would load from another host
file_worker.js       search, on pages that are opened from the disk
site.css             room for wide tables
"""
