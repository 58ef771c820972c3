//go:build tools

// Package nats names the server that the benchmark builds, so that go.mod and go.sum lock it and all that it needs.
package nats

import _ "github.com/nats-io/nats-server/v2"
