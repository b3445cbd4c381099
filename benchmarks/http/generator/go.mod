module generator

go 1.26.0
