package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/drctl/drctl/internal/recovery"
)

// The areas of the preflight, in the order in which they are printed.
const (
	areaCluster = "cluster"
	areaNetwork = "network"
	areaStorage = "storage"
	areaSecrets = "secrets"
	areaTree    = "tree"
	areaGit     = "git"
	areaBackups = "backups"
	areaArgo    = "argocd"
)

func areas() []string {
	return []string{areaCluster, areaNetwork, areaStorage, areaSecrets, areaTree, areaGit, areaBackups, areaArgo}
}

// preflight looks at everything at once. Its parts are independent of each other, and each says what it could not
// look at.
type preflight struct {
	*Bootstrap
	options Options
	params  *Params

	mu     sync.Mutex
	checks []recovery.Check
	// release is what is there of Argo CD.
	release *recovery.Release
}

// run gives all checks in order of area, and within one in the order in which they were made.
func (p *preflight) run(ctx context.Context) ([]recovery.Check, *recovery.Release) {
	var group errgroup.Group
	for _, part := range []func(context.Context){
		p.checkCluster, p.checkNetwork, p.checkStorage, p.checkSecrets, p.checkTree, p.checkExports, p.checkGit, p.checkKopia, p.checkDatabases, p.checkArgo,
	} {
		group.Go(func() error {
			part(ctx)
			return nil
		})
	}
	_ = group.Wait()
	slices.SortStableFunc(p.checks, func(a, b recovery.Check) int {
		order := areas()
		return slices.Index(order, a.Area) - slices.Index(order, b.Area)
	})
	return p.checks, p.release
}

func (p *preflight) add(area, name string, result recovery.CheckResult, why, fix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks = append(p.checks, recovery.Check{Area: area, Name: name, Result: result, Why: why, Fix: fix})
}

func (p *preflight) ok(area, name, why string, args ...any) {
	p.add(area, name, recovery.CheckOK, fmt.Sprintf(why, args...), "")
}

// skip is for what could not be looked at; it reports whether that was so.
func (p *preflight) skip(area, name string, err error) bool {
	if err == nil {
		return false
	}
	why, fix := err.Error(), ""
	if problem := innermost(err); problem != nil {
		why, fix = strings.TrimSuffix(problem.What+": "+problem.Cause(), ": "), problem.Next
	}
	p.add(area, name, recovery.CheckSkip, why, fix)
	return true
}

// gaps are parts of the tree that could not be read.
func (p *preflight) gaps(area string, gaps recovery.Gaps) {
	for _, gap := range gaps {
		p.add(area, "unread", recovery.CheckSkip, strings.TrimSuffix(gap.What+": "+gap.Cause(), ": "), gap.Next)
	}
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "ch") {
		return fmt.Sprintf("%d %ses", n, one)
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func some(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
