// Package edit changes in a GitOps tree which server a CNPG Cluster writes its backups to, and nothing
// else: comments, order, indentation, quotes and line ends stay as they are, byte for byte. It splices
// text at the positions that the YAML parser reports, parses the result again and compares it with the
// intended one. What it does not recognise it does not touch: the error is an *Unrecognised, with the
// change to make by hand.
//
// It must not import other packages of drctl than recovery and gitops, and gitops must not import it.
package edit
