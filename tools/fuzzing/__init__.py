"""Mutated image files through both pipelines, to see that nothing a file holds can end, stall, swell or split a run.

seeds.py      small pictures of every kind, drawn here, and the files of folders that are given
damage/       what may happen to any file (bits, blocks, ends, numbers), and what only one format has (frames, chunks, tags, boxes)
cases.py      (seed, number) → one damaged file, and how its block of cases is to be read
messages.py   what a parent asks of a child, and what the child answers
judge.py      both pipelines over a folder, compared row by row
processes.py  what a process takes
serve.py      a child process that judges one folder after another
children.py   such children as their parent sees them, with limits on time and memory
hunt.py       a block of cases → the files that fail, each alone and as small as can be
minimise.py   a file that fails → a smaller one that fails alike
"""
