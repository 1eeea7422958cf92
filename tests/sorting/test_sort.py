from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imgstream.sorting.plan
import imgstream.sorting.sort
from imgstream.errors import DatasetError, OutputError
from imgstream.sorting import preview, sort, stored_root, undo
from imgstream.sorting.journal import Journal
from tests_sorting import Killed, Tree, files_of, kill_at, no_hard_links, predictions, tree
