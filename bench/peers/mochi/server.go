//go:build tools

// Package mochi names the server that the benchmark builds, so that go.mod and go.sum lock it and all that it needs.
package mochi

import _ "github.com/mochi-mqtt/server/v2/cmd"
