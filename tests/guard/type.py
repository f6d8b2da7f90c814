"""Types at a shell in a terminal of its own, and waits for what it answers."""
import os, pty, select, sys, time

pid, fd = pty.fork()
if pid == 0:
    os.environ["PS1"] = "ready> "
    os.execvp(sys.argv[1], sys.argv[1:])

seen = b""


def wait_for(words, seconds=10):
    global seen
    end = time.time() + seconds
    while words not in seen:
        left = end - time.time()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            sys.exit(f"no {words!r} in {seconds} s; seen: {seen!r}")
        try:
            seen += os.read(fd, 4096)
        except OSError:
            sys.exit(f"ended before {words!r}; seen: {seen!r}")
    seen = seen[seen.index(words) + len(words) :]


def type_in(words):
    os.write(fd, words)


wait_for(b"ready> ")
type_in(b"mkfifo p; echo made-$?\n")
wait_for(b"made-0")
wait_for(b"ready> ")
# Stopped while it waits for the other end, continued, interrupted.
type_in(b"cat p\n")
time.sleep(0.5)
type_in(b"\x1a")
wait_for(b"Stopped")
wait_for(b"ready> ")
type_in(b"jobs\n")
wait_for(b"cat p")
wait_for(b"ready> ")
type_in(b"fg\n")
time.sleep(0.5)
type_in(b"\x03")
wait_for(b"ready> ")
type_in(b"echo status-$?\n")
wait_for(b"status-130")
wait_for(b"ready> ")
# Goes on in the background, and ends with the other end.
type_in(b"cat p & sleep 0.3; echo through > p; wait; echo done-$?\n")
wait_for(b"through")
wait_for(b"done-0")
wait_for(b"ready> ")
# What the shell itself opens waits too.
type_in(b"echo x > p\n")
time.sleep(0.5)
type_in(b"\x03")
wait_for(b"ready> ")
type_in(b"stty size < /dev/tty > size; echo tty-$?\n")
wait_for(b"tty-0")
type_in(b"exit 0\n")
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
