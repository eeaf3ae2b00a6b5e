//go:build tools

// Package prometheus pins the programs prometheus and promtool, which scripts/fetch_prometheus.sh builds from their
// module: the real server and its API, without the browser's pages.
package prometheus

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
