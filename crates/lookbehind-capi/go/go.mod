module lookbehind

go 1.19
