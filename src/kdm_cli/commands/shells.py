"""What click's completion lacks for kdm's own words: ``NAME=COUNT`` in bash, ``a,b`` in fish."""

from __future__ import annotations

from typing import Any

from click.shell_completion import BashComplete, CompletionItem, FishComplete, add_completion_class

__all__ = ["Bash", "Fish"]


@add_completion_class
class Bash(BashComplete):
    """bash makes three words of ``NAME=COUNT`` (COMP_WORDBREAKS), and completes the last one alone."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """Complete the whole word, and return what comes behind its last ``=``."""
        whole: list[str] = []
        for part in (*args, incomplete):
            if whole and (part == "=" or whole[-1].endswith("=")):
                whole[-1] += part
            else:
                whole.append(part)
        *before, last = whole
        kept = last[: last.rfind("=") + 1]
        found = super().get_completions(before, last)
        return [CompletionItem(each.value.removeprefix(kept), each.type, each.help) for each in found]


@add_completion_class
class Fish(FishComplete):
    """click's script takes what is before the second comma alone."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')
