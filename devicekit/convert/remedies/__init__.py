"""The catalogue of remedies: rewrites of what does not convert into what does, each proven equal.

One module per remedy; a new one is a module and a line of the table.
"""

# The name in reports -> the remedy, in the order in which they are tried. complex_pairs stands before float16
# and float64, which make real what it makes pairs of; gelu before special_functions, which takes erf;
# stateless behind lstm, whose calls it wraps.
REMEDIES = {
    "text_outside": "devicekit.convert.remedies.text_outside:REMEDY",
    "tables_outside": "devicekit.convert.remedies.tables_outside:REMEDY",
    "boxes_outside": "devicekit.convert.remedies.boxes_outside:REMEDY",
    "random_layers": "devicekit.convert.remedies.random_layers:REMEDY",
    "lstm": "devicekit.convert.remedies.lstm:REMEDY",
    "lstm_calls": "devicekit.convert.remedies.lstm:CALLS",
    "stateless": "devicekit.convert.remedies.stateless:REMEDY",
    "loops": "devicekit.convert.remedies.loops:REMEDY",
    "fixed_sizes": "devicekit.convert.remedies.fixed_sizes:REMEDY",
    "complex_pairs": "devicekit.convert.remedies.complex_pairs:REMEDY",
    "float16": "devicekit.convert.remedies.dtypes:FLOAT16",
    "bfloat16": "devicekit.convert.remedies.dtypes:BFLOAT16",
    "float64": "devicekit.convert.remedies.dtypes:FLOAT64",
    "integer_lookup": "devicekit.convert.remedies.integer_lookup:REMEDY",
    "separable_resize": "devicekit.convert.remedies.separable_resize:REMEDY",
    "pool_3d": "devicekit.convert.remedies.pool_3d:REMEDY",
    "arithmetic": "devicekit.convert.remedies.arithmetic:REMEDY",
    "colours": "devicekit.convert.remedies.colours:REMEDY",
    "cumulative_product": "devicekit.convert.remedies.cumulative_product:REMEDY",
    "gelu": "devicekit.convert.remedies.gelu:REMEDY",
    "histogram": "devicekit.convert.remedies.histogram:REMEDY",
    "ranks": "devicekit.convert.remedies.ranks:REMEDY",
    "rearrangement": "devicekit.convert.remedies.rearrangement:REMEDY",
    "segments": "devicekit.convert.remedies.segments:REMEDY",
    "small_matrices": "devicekit.convert.remedies.small_matrices:REMEDY",
    "special_functions": "devicekit.convert.remedies.special_functions:REMEDY",
    "trigonometry": "devicekit.convert.remedies.trigonometry:REMEDY",
}
