"""Colours that readers with colour-vision deficiency can distinguish (Okabe & Ito 2008), and colour maps."""

BLACK, ORANGE, GREEN, BLUE = "#000000", "#E69F00", "#009E73", "#0072B2"
VERMILION, PURPLE = "#D55E00", "#CC79A7"
GREY = "#9A9A9A"
TIME_MAP = "viridis"  # the paper's Figure 1
SIGNED_MAP = "RdBu_r"
