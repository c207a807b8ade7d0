"""Shell scripts for devices: the only place that quotes. POSIX sh, as dash, busybox, mksh and toybox have it.

A command runs as a job in a session of its own, with its output in files, so that it outlives a dropped link,
a time-out ends it with all that it started, and old devices need tell no exit code.
"""

import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from devicekit.device.seam import Completed

# What became of a job that has not ended: it never started or its files are gone, the device restarted,
# nobody could write its files, or it goes on.
Fate = Literal["gone", "restarted", "refused", "running"]
_FATES: tuple[Fate, ...] = ("gone", "restarted", "refused", "running")

# How long a lock's holder may be silent between two commands: it converts, pushes, writes reports.
LEASE_S = 900
_SAFE = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


@dataclass(frozen=True)
class Job:
    """A command on a device: `folder` (absolute) is where its files lie, `marker` begins its answer."""

    folder: str
    marker: str


def quote(text: str) -> str:
    """Returns text as one word of a shell. Raises ValueError for NUL, which no argument can hold."""
    if "\0" in text:
        raise ValueError("an argument for a device holds NUL")
    return text if _SAFE.fullmatch(text) else "'" + text.replace("'", "'\"'\"'") + "'"


def joined(argv: Sequence[str]) -> str:
    """Returns a command as a shell reads it."""
    return " ".join(map(quote, argv))


def new_job(folder: str) -> Job:
    """Returns a job whose files are to lie in a new directory in `folder`."""
    name = secrets.token_hex(8)
    return Job(f"{folder}/.job-{name}", f"devicekit-{name}")


def start_script(
    job: Job, argv: Sequence[str], *, folder: str, timeout_s: float, owner: str, ended: Sequence[Job] = ()
) -> str:
    """Returns a script that runs `argv` in `folder`, waits for it and answers as `read_answer` reads it.

    The command's supervisor leads a session, where the device has setsid. It writes "rc", then kills what is
    left of its group. Files of a job stay until it has been heard how it ended: those of `ended` are removed.
    """
    supervisor = (
        f"cd {quote(folder)} || exit; "
        f"{joined(argv)} </dev/null >{quote(job.folder)}/out 2>{quote(job.folder)}/err & "
        f"job=$!; (sleep {max(1, math.ceil(timeout_s))}; {_end(job, 'timeout')}) >/dev/null 2>&1 & "
        f"wait $job; {_end(job, '$?')}"
    )
    return (
        f"rm -rf {joined([one.folder for one in ended])}; "
        f"mkdir -p {quote(job.folder)} && cd {quote(folder)} && {{ {renew_words(owner, timeout_s)}; }} "
        f"&& cd {quote(job.folder)} && {_BOOT_ID} >boot "
        f"|| {{ echo {job.marker} refused 0 0; exit; }}; "
        f"$(command -v setsid) sh -c {quote(supervisor)} </dev/null >/dev/null 2>&1 & "
        f"echo $! >pid; wait $!; {answer_script(job)}"
    )


def _end(job: Job, code: str) -> str:
    """Returns shell words that file how a job ended, once, and end all that is left of it."""
    folder = quote(job.folder)
    return f"echo {code} >{folder}/rc.$$ && mv {folder}/rc.$$ {folder}/rc; kill -9 0"


# Linux without /proc mounted gives nothing, which is the same later on.
_BOOT_ID = "{ cat /proc/sys/kernel/random/boot_id 2>/dev/null || :; }"


def collect_script(job: Job, *, timeout_s: float) -> str:
    """Returns a script that waits for a job which was started before, and answers in its place."""
    folder = quote(job.folder)
    return (
        f"cd {folder} 2>/dev/null; i=0; "
        f"while [ -e pid ] && [ ! -e rc ] && [ $i -lt {math.ceil(timeout_s)} ] "
        f"&& kill -0 $(cat pid) 2>/dev/null; do sleep 1; i=$((i+1)); done; {answer_script(job)}"
    )


def answer_script(job: Job) -> str:
    """Returns a script that prints a line of the job's marker, state and sizes, then output and errors.

    A job that ended with its supervisor, before that could write "rc", was killed: systems do that for
    memory.
    """
    state = (
        f'fate=; [ "$({_BOOT_ID})" != "$(cat boot)" ] && fate=restarted || '
        "{ kill -0 $(cat pid) 2>/dev/null && fate=running; } || echo 137 >rc"
    )
    return (
        f"cd {quote(job.folder)} 2>/dev/null || {{ echo {job.marker} gone 0 0; exit; }}; "
        f"[ -e rc ] || {{ {state}; "
        f'[ -z "$fate" ] || {{ echo {job.marker} $fate 0 0; exit; }}; }}; '
        f"echo {job.marker} $(cat rc) $(wc -c <out) $(wc -c <err); cat out err"
    )


def read_answer(job: Job, answer: bytes) -> Completed | Fate | None:
    """Returns how a job ended, or what became of it; None where the answer is not whole."""
    start = answer.find(job.marker.encode())
    head, newline, body = answer[start:].partition(b"\n") if start >= 0 else (b"", b"", b"")
    words = head.decode("ascii", "replace").split()
    if not newline or len(words) != 4 or not (words[2].isdecimal() and words[3].isdecimal()):
        return None
    _, state, out_size, err_size = words
    if state in _FATES:
        return _FATES[_FATES.index(state)]
    out, err = int(out_size), int(err_size)
    if len(body) < out + err or not (state == "timeout" or state.isdecimal()):
        return None
    return Completed(
        exit_code=None if state == "timeout" else int(state),
        stdout=body[:out].decode(errors="replace"),
        stderr=body[out : out + err].decode(errors="replace"),
        timed_out=state == "timeout",
    )


def end_script(job: Job) -> str:
    """Returns a script that ends a job with all that it started, and removes its files."""
    return f"cd {quote(job.folder)} && {{ {_KILL}; cd /; rm -rf {quote(job.folder)}; }}"


_KILL = "kill -9 -$(cat pid) 2>/dev/null || kill -9 $(cat pid) 2>/dev/null"


def open_script(run: str) -> str:
    """Returns a script that makes a directory of ours with `run` in it and prints "root PATH".

    It is the first that can be written and run from, and the script stays in it; where there is none, nothing
    is printed.
    """
    ours = '/data/local/tmp/devicekit "$HOME/.devicekit" /var/tmp/devicekit-$(id -u) /tmp/devicekit-$(id -u)'
    return (
        f"umask 077; for root in {ours}; do "
        "case $root in /data/*) [ -d /data/local/tmp ] || continue;; /.devicekit) continue;; esac; "
        f'mkdir -p "$root/{run}" 2>/dev/null && cd "$root/{run}" || continue; '
        "sh=/system/bin/sh; [ -x $sh ] || sh=/bin/sh; "
        '{ echo "#!$sh" >.can && chmod 700 .can && ./.can; } 2>/dev/null; can=$?; rm -f .can; '
        '[ $can = 0 ] && { echo "root $root"; break; }; done'
    )


def close_script(root: str, run: str) -> str:
    """Returns a script that removes the run directory, and ours around it where that is empty then."""
    return f"rm -rf {quote(f'{root}/{run}')}; rmdir {quote(root)} 2>/dev/null"


def keep_script(root: str, run: str) -> str:
    """Returns a script that removes what jobs left in the run directory, and it where it is empty then."""
    place = quote(f"{root}/{run}")
    return f"cd {place} && rm -rf .job-* && cd / && rmdir {place} {quote(root)} 2>/dev/null"


# Beside the run directory: a link whose text is "SECONDS BOOT OWNER", as making a link is atomic everywhere,
# and a file with the second until which its holder may be busy.
_LOCK, _UNTIL = "../lock", "../until"
_NOW = "$(date +%s)"


def renew_words(owner: str, timeout_s: float) -> str:
    """Returns shell words that tell others how long the lock's holder may be busy, where `owner` holds it."""
    until = f"$(({_NOW}+{math.ceil(timeout_s + LEASE_S)}))"
    return f'case "$(readlink {_LOCK})" in *" {owner}") echo {until} >{_UNTIL};; esac'


def lock_script(owner: str) -> str:
    """Returns a script that takes the lock and prints "taken", or "held SECONDS OWNER".

    A lock that is stale (of another start, of the same owner, or older than its time) is moved away and
    looked at again, as another may have taken it over in between. Whoever takes the lock ends what a crashed
    run left running; the script's own job it leaves alone.
    """
    is_stale = (
        f'{{ [ "$2" != "$boot" ] || [ "$3" = {owner} ] || '
        f"[ {_NOW} -ge $(cat {_UNTIL} 2>/dev/null || echo $(($1+{LEASE_S}))) ]; }}"
    )
    is_live = 'grep -q "$job" /proc/$(cat $pid)/cmdline 2>/dev/null'  # numbers are used again
    return (
        f"boot=$({_BOOT_ID}); boot=${{boot:-none}}; was=$(readlink {_LOCK}); "
        f'if [ -n "$was" ]; then set -- $was; '
        f'{is_stale} && mv {_LOCK} {_LOCK}.$$ && {{ [ "$(readlink {_LOCK}.$$)" = "$was" ] || '
        f"{{ mv {_LOCK}.$$ {_LOCK}; false; }}; }} "
        f'|| {{ echo "held $(({_NOW}-$1)) $3"; exit; }}; rm -f {_LOCK}.$$ {_UNTIL}; fi; '
        f'ln -s "{_NOW} $boot {owner}" {_LOCK} 2>/dev/null || {{ '
        f'set -- $(readlink {_LOCK}); [ -n "$3" ] && echo "held $(({_NOW}-$1)) $3" || '
        "echo refused; exit; }; "
        'for pid in .job-*/pid; do [ -e "$pid" ] && [ "$(cat $pid)" != $PPID ] || continue; '
        f'job=${{pid%/pid}}; {is_live} && (cd $job && {{ {_KILL}; }}); rm -rf "$job"; '
        f"done; {_UNPIN}; echo taken"
    )


# What the governors were: lines of a file and its content, in a file beside the run directory.
_GOVERNORS = "../governors"
_UNPIN = (
    f"[ ! -e {_GOVERNORS} ] || {{ while read file was; do echo $was >$file; done <{_GOVERNORS}; "
    f"rm -f {_GOVERNORS}; }} 2>/dev/null"
)


def pin_script(governor: str) -> str:
    """Returns a script that sets every CPU's governor; it prints "pinned", "refused CURRENT" or "none"."""
    return (
        f"{_UNPIN}; set -- /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; "
        '[ -e "$1" ] || { echo none; exit; }; '
        f'for file; do echo "$file $(cat $file)"; done >{_GOVERNORS}.new && '
        f"mv {_GOVERNORS}.new {_GOVERNORS} || {{ echo refused; exit; }}; "
        f"for file; do {{ echo {quote(governor)} >$file; }} 2>/dev/null || "
        f'{{ {_UNPIN}; echo "refused $(cat $1)"; exit; }}; done; echo pinned'
    )


def unpin_script() -> str:
    """Returns a script that puts back what governors were before `pin_script`."""
    return _UNPIN


def release_script(owner: str) -> str:
    """Returns a script that gives the lock back, where it is still ours."""
    return f'set -- $(readlink {_LOCK}); [ "$3" != {owner} ] || rm -f {_LOCK} {_UNTIL}'
