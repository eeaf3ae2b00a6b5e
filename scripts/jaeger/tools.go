//go:build tools

// Package jaeger pins Jaeger's all-in-one program, which scripts/fetch_jaeger.sh builds from its module: the real
// collector and query API, without the browser's pages.
package jaeger

import _ "github.com/jaegertracing/jaeger/cmd/all-in-one"
