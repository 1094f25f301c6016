module example.org/yourserver

go 1.26.0

require holdfast v0.0.0

replace holdfast => ../..
