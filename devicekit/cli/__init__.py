"""The command line: a lazy table of commands. The only package that prints and exits."""

import sys

import click

# name -> (module:attr, what `devicekit --help` says). A command's module is imported when it runs.
COMMANDS = {
    "deploy": ("devicekit.cli.deploy:deploy", "Convert, quantize, check and measure a model: the main job."),
    "inspect": ("devicekit.cli.model:inspect", "Show inputs, outputs, ops, parameters, MACs and size."),
    "check": ("devicekit.cli.model:check", "Check a model against a profile's rules."),
    "predict": ("devicekit.cli.predict:predict", "Predict memory and latency of a model, with no device."),
    "convert": ("devicekit.cli.model:convert", "Write a .tflite, by recipe or fitted to a profile."),
    "measure": ("devicekit.cli.measure:measure", "Measure latency and memory of a .tflite."),
    "compare": ("devicekit.cli.compare:compare", "Compare models side by side, against the first."),
    "fleet": ("devicekit.cli.fleet:fleet", "Measure on many devices: run, report, history, gate."),
    "results": ("devicekit.cli.results:results", "List, show and compare what was filed."),
    "store": ("devicekit.cli.results:store", "Export, import and look after the store of results."),
    "serve": ("devicekit.cli.serve:serve", "Show the results as web pages, read-only."),
    "devices": ("devicekit.cli.devices:devices", "List attached devices and boards, and their profiles."),
    "doctor": ("devicekit.cli.devices:doctor", "Check adb, SSH, runtimes and caches, with remedies."),
    "profile": ("devicekit.cli.profile:profile", "List, write, probe, check and explain device profiles."),
    "ops": ("devicekit.cli.ops:ops", "List the operators that runtimes and delegates take."),
}


class LazyGroup(click.Group):
    """A group whose commands are resolved from COMMANDS on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        from devicekit.plugins import resolve

        command: click.Command = resolve(COMMANDS[name][0])
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from devicekit.cli.frame import unknown_command

            raise unknown_command(args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: devicekit deploy model.h5 --profile pixel7",
)
@click.version_option(package_name="devicekit", message="%(prog)s %(version)s")
def cli() -> None:
    """devicekit takes a Keras model to a device: converts and quantizes it until it fits, proves that it
    still computes the same thing, measures it, and files the result."""


def main() -> None:
    """Runs the command line; exits with the documented code."""
    if len(sys.argv) > 1 and sys.argv[1] in ("-h", "--help"):
        cli.main(prog_name="devicekit")
    from devicekit.cli.frame import run

    sys.exit(run(cli))
