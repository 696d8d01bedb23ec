// Package lab starts the real parts that drctl is proven on, as processes of this machine: a control
// plane, MinIO, Kopia repositories, PostgreSQL with Barman, an NFS server. It serves tests, the demo
// and the benchmarks, and is never part of the drctl binary.
//
// The nested modules below parts/ only build those programs, so that the main module needs none of
// their dependencies and no replace line. Every server listens on 127.0.0.1, is stopped by its own
// process ID, and dies with the process that started it.
//
// It must not import cli, ui, app or the use cases.
package lab
