//go:build tools

// Package centrifugo names the server that the benchmark builds, so that go.mod and go.sum lock it and all that it needs.
package centrifugo

import _ "github.com/centrifugal/centrifugo/v5"
