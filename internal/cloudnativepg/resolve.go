package cloudnativepg

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// Resolve finds the database that a name on the command line means, optionally as NAMESPACE/NAME. The
// first of these rules that fits any database decides: its exact name, the folder of its manifest, its
// label app or app.kubernetes.io/name, the last element of its S3 path, the beginning of its name. When
// that rule fits two, the error lists them (recovery.ErrUsage); when none fits, it lists what there is
// (recovery.ErrNotFound).
func Resolve(name string, databases []recovery.Database) (recovery.Database, error) {
	candidates, wanted := databases, name
	if namespace, rest, qualified := strings.Cut(name, "/"); qualified {
		wanted = rest
		candidates = slices.DeleteFunc(slices.Clone(databases), func(database recovery.Database) bool {
			return database.Namespace != namespace
		})
	}
	for _, fits := range rules() {
		var matches []recovery.Database
		for _, database := range candidates {
			if wanted != "" && fits(database, wanted) {
				matches = append(matches, database)
			}
		}
		switch len(matches) {
		case 0:
		case 1:
			return matches[0], nil
		default:
			return recovery.Database{}, ambiguous(name, matches)
		}
	}
	return recovery.Database{}, unknown(name, wanted, databases)
}

// rules are the ways in which a name can mean a database, the strongest first.
func rules() []func(database recovery.Database, name string) bool {
	return []func(recovery.Database, string) bool{
		func(database recovery.Database, name string) bool { return database.Name == name },
		func(database recovery.Database, name string) bool { return folder(database.Directory) == name },
		func(database recovery.Database, name string) bool {
			return database.Labels["app"] == name || database.Labels["app.kubernetes.io/name"] == name
		},
		func(database recovery.Database, name string) bool {
			return path.Base(strings.TrimRight(database.Store.DestinationPath, "/")) == name
		},
		func(database recovery.Database, name string) bool { return strings.HasPrefix(database.Name, name) },
	}
}

// folder is the last element of a manifest's directory that says something: "base" and
// "overlays/…" are kustomize's, not the database's.
func folder(directory string) string {
	elements := strings.Split(directory, "/")
	if n := len(elements); n > 2 && elements[n-2] == "overlays" {
		elements = elements[:n-2]
	} else if n > 1 && elements[n-1] == "base" {
		elements = elements[:n-1]
	}
	return elements[len(elements)-1]
}

func ambiguous(name string, matches []recovery.Database) error {
	return &recovery.Problem{
		What: fmt.Sprintf("find the database %q", name),
		Why:  "several fit: " + strings.Join(fullNames(matches), ", "),
		Next: "give one of them as NAMESPACE/NAME",
		Err:  recovery.ErrUsage,
	}
}

// unknown lists the databases there are, the most similar names first.
func unknown(name, wanted string, databases []recovery.Database) error {
	problem := &recovery.Problem{
		What: fmt.Sprintf("find the database %q", name),
		Why:  "there is no CloudNativePG Cluster at all",
		Next: "check -n and --context, or give --gitops DIR; `drctl cnpg backups --destination-path s3://…` needs no Cluster",
		Err:  recovery.ErrNotFound,
	}
	if len(databases) > 0 {
		nearest := slices.Clone(databases)
		slices.SortStableFunc(nearest, func(a, b recovery.Database) int {
			return distance(wanted, a.Name) - distance(wanted, b.Name)
		})
		problem.Why = "there is none of that name; there are: " + strings.Join(fullNames(nearest), ", ")
		problem.Next = fmt.Sprintf("did you mean %s/%s?", nearest[0].Namespace, nearest[0].Name)
	}
	return problem
}

func fullNames(databases []recovery.Database) []string {
	names := make([]string, 0, len(databases))
	for _, database := range databases {
		names = append(names, database.Namespace+"/"+database.Name)
	}
	return names
}

// distance is the number of single-byte edits between two names (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitution := diagonal
			if a[i] != b[j] {
				substitution++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, substitution)
		}
	}
	return row[len(b)]
}
