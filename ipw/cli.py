"""The command line: a table of verbs. Each is imported only when it is called."""

from __future__ import annotations

import errno
import json
import os
import sys

import click

from ipw import __version__
from ipw.errors import FAILURE, INTERRUPTED, OK, IpwError
from ipw.printable import clean
from ipw.verbs.common.lazy import LazyGroup, Verb

UNWRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
"""What the system says where standard output is a file on a full or broken disk."""
UNWRITABLE = UNWRITTEN | {errno.EROFS, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}
"""What it says of a file that is named."""

MEASURE = {
    "doctor": Verb("doctor", "Which sensors this machine has, and what to run for those that cannot be read."),
    "quickstart": Verb("quickstart", "Measure the bundled models and write a report: no network, no server, no GPU."),
    "run": Verb("run", "Measure a workload (lm, routing, train, diffusion, agent), or every cell of a suite file."),
    "gateway": Verb("gateway", "Measure any program that speaks to a model, by request, turn, tool and task."),
    "measure": Verb("measure", "Measure any command: ipw measure -- CMD ARGS."),
    "resume": Verb("resume", "Finish an interrupted run of a language model, a diffusion model or an agent."),
    "sensors": Verb("ipw.verbs.sensors:group", "Let another machine read this one's sensors: sensors serve."),
    "watch": Verb("watch", "Live power, throughput and accuracy of a run."),
}
LOOK = {
    "report": Verb("report", "Tables, charts and a page, for one run or several side by side."),
    "site": Verb("site", "A static site of many runs, to publish: ranking, filters, a page a run, the data."),
    "compare": Verb("compare", "Two stored runs, metric by metric, over the questions that both were asked."),
    "experts": Verb(
        "ipw.verbs.experts:group", "Which experts of a mixture to keep in fast memory, and how many: experts advise."
    ),
    "list": Verb("list_known", "What there is: runs, sensors, engines, data sets, scorers, methods."),
    "score": Verb("score", "Score the answers of a stored run again, without asking its model."),
    "merge": Verb("merge", "Parts of one data set, measured on several machines, as one run."),
    "import": Verb("import_runs", "Rows of other tools beside our own runs."),
    "export": Verb("export", "Stored runs in the formats of other programs."),
}
CHECK = {
    "ab": Verb("ab", "Two configurations in interleaved pairs, judged against a gate: the CI check."),
    "calibrate": Verb("calibrate", "How noisy this runner is, and the smallest change that a gate could see on it."),
    "trend": Verb("trend", "One metric over stored runs: what was expected of the last, and where the level stepped."),
}
NO_TABLES = {"doctor", "list", "sensors"}
"""Verbs that make no table: they load no pyarrow."""


def _install_completion(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from ipw.verbs.common.completion import install

        install(context)


@click.group(
    cls=LazyGroup,
    table={"Measure": MEASURE, "Look": LOOK, "Check a change": CHECK},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ipw")
@click.option(
    "--install-completion", is_flag=True, is_eager=True, expose_value=False, callback=_install_completion,
    help="Let the Tab key complete verbs and options in this shell, and exit.",
)  # fmt: skip
@click.pass_context
def cli(context: click.Context) -> None:
    """Intelligence per watt: how much a local model gets right for the power that it draws."""
    if context.invoked_subcommand not in NO_TABLES:
        from ipw.verbs.common.pandas_later import use_pandas_later

        use_pandas_later()


def main() -> None:
    """Run the command line; what people can cause ends in one line, a hint and an exit code."""
    try:
        code = cli.main(prog_name="ipw", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        code = _misused(error)
    except IpwError as error:
        code = _fail(error.message, error.hint, error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        exec("")  # noqa: S102 - else Python ends by the signal, if it fell into another `exec`, as of a dataclass
        code = _fail("interrupted; what had finished is kept", None, INTERRUPTED)
    except BrokenPipeError:
        _drop_stdout()
        code = OK
    except OSError as error:
        if error.filename and error.errno in UNWRITABLE:
            sys.exit(_fail(f"{error.filename}: {error.strerror}", None, FAILURE))
        if error.errno not in UNWRITTEN:
            raise
        _drop_stdout()
        code = _fail(f"the answer cannot be written to the standard output: {error.strerror}", None, FAILURE)
    sys.exit(code if isinstance(code, int) else 0)


def _drop_stdout() -> None:
    """Let what is still to be written go nowhere, so that the end of Python does not complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _misused(error: click.ClickException) -> int:
    context, message = getattr(error, "ctx", None), error.format_message()
    if context is not None and message == context.get_help():  # a group that was called without a command
        click.echo(message, err=True)
        return error.exit_code
    return _fail(message, f"{context.command_path} --help" if context else None, error.exit_code)


def _fail(message: str, hint: str | None, code: int) -> int:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": message, "hint": hint, "exit_code": code}))
    click.echo(f"ipw: {clean(message, 2000)}" + (f"\n  try: {clean(hint, 2000)}" if hint else ""), err=True)
    return code


if __name__ == "__main__":
    main()
