import subprocess
import sys

# A process of its own, because what is tested happens when Daft is imported. It refuses every way to the network that
# Python has, and shows Daft a terminal, where Daft would draw its bars.
PROGRAM = """
import os, pty, socket, sys, threading

attempts = []
def refuse(*given, **more):
    attempts.append(given)
    raise OSError("no network")
socket.getaddrinfo = socket.socket.connect = refuse

master, terminal = pty.openpty()
os.dup2(terminal, 2)
import homeroom.data.deduplication as deduplication
import daft
frame = daft.from_pydict({"row": [0, 1], "key": ["abcdefgh"] * 2, "script_free": ["abcdefgh"] * 2, "family": ["", ""]})
print(deduplication.find_duplicates(frame, 2, near=0.8, related=0.5).exact, daft.get_or_create_runner().name)
for thread in threading.enumerate():
    if thread is not threading.current_thread() and not thread.daemon:
        thread.join()
os.set_blocking(master, False)
try:
    shown = os.read(master, 10_000)
except BlockingIOError:
    shown = b""
print(attempts, shown, flush=True)
os._exit(0)  # an interpreter that ends within milliseconds of a query crashes now and then on Daft's own threads
"""


def test_daft_neither_phones_home_nor_writes_on_the_terminal() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "{1: 0} native\n[] b''\n"
