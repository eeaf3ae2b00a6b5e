// Jaeger's all-in-one program, built from its module: the real collector and query API, without the browser's pages.
package main

import _ "github.com/jaegertracing/jaeger/cmd/all-in-one"

func main() {}
