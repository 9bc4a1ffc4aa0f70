"""Numbers and colours the way the pages show them."""

from __future__ import annotations

from django import template

from ..charts import heat

register = template.Library()
register.filter("heat", heat)


@register.filter
def thousands(number: int) -> str:
    """``27004`` as ``27,004``; a real minus sign."""
    return f"{number:,}".replace("-", "\N{MINUS SIGN}")


@register.filter
def signed(minutes: int | None) -> str:
    """A delay with its sign, or a dash when there is none."""
    if minutes is None:
        return "\N{EN DASH}"
    return f"{minutes:+,}".replace("-", "\N{MINUS SIGN}") if minutes else "0"


@register.filter
def minutes(number: int) -> str:
    """A delay without a plus sign, for narrow cells."""
    return f"{number}".replace("-", "\N{MINUS SIGN}")


@register.filter
def seconds(number: float | None) -> str:
    """Seconds with one decimal, or a dash while there are none."""
    return "\N{EN DASH}" if number is None else f"{number:,.1f} s"
