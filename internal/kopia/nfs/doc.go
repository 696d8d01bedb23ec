// Package nfs reads a Kopia repository over NFSv3 from user space: no mount, no root, no kernel
// client. It gives a read-only blob.Storage that serves what Kopia's filesystem provider would serve
// from the same folder.
//
// Numbers, names and argument types of the protocol come from github.com/willscott/go-nfs-client. Its
// connection is not used: it retries a dead server 100 times, five seconds each; it ignores contexts;
// it panics when a connection breaks twice or when the server denies an RPC version; it reads only the
// first fragment of a reply; it reads directories 4 KiB at a time and asks for each one's attributes
// again; it claims membership of group 0; and it decodes any length that a server names, up to 4 GiB.
//
// It must not import kopia's command line, the cluster, or any other adapter.
package nfs
