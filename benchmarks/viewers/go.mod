module github.com/live-engagement/benchmarks/viewers

go 1.24
