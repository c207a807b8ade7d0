"""The catalogue of remedies: rewrites of what does not convert into what does, each proven equal.

One module per remedy; a new one is a module and a line of the table.
"""

# The name in reports and in --no-rewrite -> the remedy, in the order in which they are tried.
REMEDIES = {
    "text_outside": "devicekit.convert.remedies.text_outside:REMEDY",
    "tables_outside": "devicekit.convert.remedies.tables_outside:REMEDY",
    "boxes_outside": "devicekit.convert.remedies.boxes_outside:REMEDY",
    "max_pool_3d": "devicekit.convert.remedies.max_pool_3d:REMEDY",
}
