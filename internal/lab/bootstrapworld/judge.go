package bootstrapworld

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// complaints collects what is wrong.
type complaints struct{ all []error }

func (c *complaints) wrong(ok bool, format string, args ...any) {
	if !ok {
		c.all = append(c.all, fmt.Errorf(format, args...))
	}
}

func (c *complaints) err() error { return errors.Join(c.all...) }

// Bootstrapped judges a world after a bootstrap with a chart of that version.
func (before *State) Bootstrapped(after *State, version string) error {
	var c complaints
	c.released(after, version)
	for name, value := range brought() {
		// Whether a value is right is said, never what it is.
		c.wrong(after.Secrets[name] == value, "Secret %s is not as in its file", name)
	}
	for _, name := range []string{"applications.argoproj.io", "applicationsets.argoproj.io", "appprojects.argoproj.io"} {
		c.wrong(after.Definitions[name], "definition %s is not Established", name)
	}
	c.wrong(after.Root == "", "the root Application: %s", after.Root)
	for _, name := range append([]string{Root}, Applications()...) {
		c.wrong(after.Applications[name] == "Synced Healthy", "Application %s is %q", name, after.Applications[name])
	}
	c.rest(before, after)
	return c.err()
}

// released: the newest revision is the only deployed one, is complete, and none is pending.
func (c *complaints) released(after *State, version string) {
	deployed := 0
	for revision, status := range after.Revisions {
		if status == "deployed" {
			deployed++
		}
		c.wrong(!strings.HasPrefix(status, "pending") && status != "uninstalling", "revision %d is %s", revision, status)
	}
	c.wrong(deployed == 1 && after.Revisions[after.Newest] == "deployed", "revisions are %v", after.Revisions)
	c.wrong(after.Root == "absent" || after.ChartVersion != "", "LOST: Argo CD was taken from under its Applications")
	c.wrong(after.ChartVersion == version || after.ChartVersion == "", "LOST: Argo CD is at chart %s, and was to be at %s", after.ChartVersion, version)
	c.wrong(len(after.Missing) == 0, "of Argo CD: %s", strings.Join(after.Missing, ", "))
}

// rest is what holds after everything.
func (c *complaints) rest(before, after *State) {
	c.wrong(after.Bystander == before.Bystander, "LOST: something else was touched: it is\n%s\nand was\n%s", after.Bystander, before.Bystander)
	for name, value := range before.Secrets {
		c.wrong(after.Secrets[name] == value, "LOST: Secret %s had other values, and was overwritten or deleted", name)
	}
	for name := range before.Definitions {
		_, still := after.Definitions[name]
		c.wrong(still, "LOST: definition %s was deleted, and everything of its kind with it", name)
	}
	c.wrong(len(after.Left) == 0, "left behind: %s", strings.Join(after.Left, ", "))
}

// Untouched judges a world after an abort: Argo CD is as it was, or gone where there was none. The definitions may
// stay, since with them would go whatever is of their kinds; so may namespaces, and the operator's own Secrets, which the
// next attempt needs.
func (before *State) Untouched(after *State) error {
	var c complaints
	if before.ChartVersion == "" {
		c.wrong(len(after.Revisions) == 0, "the release is left: %v", after.Revisions)
		c.wrong(len(after.Argo) == 0, "of Argo CD is left: %s", strings.Join(after.Argo, ", "))
	} else {
		c.released(after, before.ChartVersion)
	}
	for name, value := range after.Secrets {
		c.wrong(value == brought()[name] || value == before.Secrets[name], "Secret %s is neither as before nor as in its file", name)
	}
	c.wrong(after.Root == before.Root, "the root Application: %s", after.Root)
	appeared := slices.DeleteFunc(slices.Sorted(maps.Keys(after.Applications)), func(name string) bool { _, was := before.Applications[name]; return was })
	c.wrong(len(appeared) == 0, "Applications appeared: %s", strings.Join(appeared, ", "))
	for name := range before.Applications {
		_, still := after.Applications[name]
		c.wrong(still, "LOST: Application %s was deleted", name)
	}
	c.rest(before, after)
	return c.err()
}
