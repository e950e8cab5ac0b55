"""From a company's statements and prices to its rows of financial ratios, each NULL with its reason. Pure."""
