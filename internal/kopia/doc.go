// Package kopia reads one Kopia repository, read-only, and lists its snapshots fast: from a folder,
// from NFS spoken in user space, or from S3. Nothing is ever written to the repository, and nothing of
// Kopia (configuration, cache, log, password) is left on this machine unless a cache folder is asked
// for.
//
// Kopia's own code decodes everything (formats, encryption, error correction, index blobs, epochs).
// What is ours is the way to it: a storage in front of Kopia lists once, fetches what Kopia is about
// to ask for in few wide waves, while the key is derived from the password, and reads each snapshot
// manifest once.
//
// It imports recovery, the Kopia library and the standard library; never a use case, cli or ui.
package kopia
