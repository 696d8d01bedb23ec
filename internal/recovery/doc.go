// Package recovery holds the words that all of drctl shares: recovery points and their sources, what
// a cluster says it protects, and what could not be read. It is plain data with the few rules that
// belong to the data itself.
//
// It imports the standard library only; every other package may import it.
package recovery

// APIVersion stands in every JSON and YAML answer.
const APIVersion = "drctl.dev/v1"
