//go:build tools

// Package build pins the programs of Temporal's production server.
package build

import (
	_ "go.temporal.io/server/cmd/server"
	_ "go.temporal.io/server/cmd/tools/sql"
)
