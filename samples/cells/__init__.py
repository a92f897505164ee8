"""Blood cells: configuration, data set, and the program that trains on them."""
