//go:build tools

// Package compose pins Docker Compose, which scripts/fetch_compose.sh builds from its module.
package compose

import _ "github.com/docker/compose/v2/cmd"
