"""What click's completion lacks for kdm's own words: ``NAME=COUNT`` and ``a@b`` in bash, ``a,b`` in fish."""

from __future__ import annotations

from typing import Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

__all__ = ["Bash", "Fish", "Zsh"]


class _Whole(ShellComplete):
    """Offers whole words: for ``--context=bo`` click offers ``bob``, which a shell puts in the place of all of it."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """Offer words with the option that they begin with."""
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if not (equals and option.startswith("-")):
            return found
        return [CompletionItem(f"{option}={each.value}", each.type, each.help) for each in found]


@add_completion_class
class Bash(_Whole, BashComplete):
    """bash makes three words of ``NAME=COUNT``, more of a URL (COMP_WORDBREAKS), and completes the last one alone."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """Complete the whole word, and return what stands in the place of bash's last one."""
        whole: list[str] = []
        for part in (*args, incomplete):
            if whole and (_is_break(part) or _is_break(whole[-1][-1:])):
                whole[-1] += part
            else:
                whole.append(part)
        *before, last = whole
        kept = last if _is_break(incomplete) else last.removesuffix(incomplete)
        kept = kept.removesuffix("@")  # which it replaces with what follows (readline's rl_special_prefixes)
        found = super().get_completions(before, last)
        return [CompletionItem(each.value.removeprefix(kept), each.type, each.help) for each in found]


def _is_break(part: str) -> bool:
    return bool(part) and not part.strip("=@:")


@add_completion_class
class Zsh(_Whole, ZshComplete):
    """Offers whole words."""


@add_completion_class
class Fish(_Whole, FishComplete):
    """click's script takes what is before the second comma alone."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')
