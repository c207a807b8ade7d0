"""The catalogue of remedies: rewrites of what does not convert into what does, each proven equal.

One module per remedy; a new one is a module and a line of the table.
"""

# The name in reports and in --no-rewrite -> the remedy, in the order in which they are tried.
REMEDIES = {
    "arithmetic": "devicekit.convert.remedies.arithmetic:REMEDY",
    "colours": "devicekit.convert.remedies.colours:REMEDY",
    "complex_pairs": "devicekit.convert.remedies.complex_pairs:REMEDY",
    "cumulative_product": "devicekit.convert.remedies.cumulative_product:REMEDY",
    "histogram": "devicekit.convert.remedies.histogram:REMEDY",
    "max_pool_3d": "devicekit.convert.remedies.max_pool_3d:REMEDY",
    "ranks": "devicekit.convert.remedies.ranks:REMEDY",
    "rearrangement": "devicekit.convert.remedies.rearrangement:REMEDY",
    "segments": "devicekit.convert.remedies.segments:REMEDY",
    "small_matrices": "devicekit.convert.remedies.small_matrices:REMEDY",
    "special_functions": "devicekit.convert.remedies.special_functions:REMEDY",
    "trigonometry": "devicekit.convert.remedies.trigonometry:REMEDY",
}
