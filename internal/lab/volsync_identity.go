package lab

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// kopiaIdentity is whom a mover is for Kopia, and the path that it gives to the volume; an empty path is the
// mover's own, /data.
type kopiaIdentity struct{ username, hostname, path string }

// identityOf computes a mover's identity.
// Source: perfectra1n/volsync internal/controller/mover/kopia/builder.go: FromSource, FromDestination,
// validateDestinationIdentity.
func (v *VolSync) identityOf(r *replication) (kopiaIdentity, error) {
	username, hostname := r.kopia("username"), r.kopia("hostname")
	if r.isSource() {
		return kopiaIdentity{
			firstText(username, usernameOf(r.GetName())), firstText(hostname, hostnameOf(r.GetNamespace(), r.GetName())), r.kopia("sourcePathOverride"),
		}, nil
	}
	if (username == "") != (hostname == "") {
		return kopiaIdentity{}, errors.New("kopia ReplicationDestination error: both 'username' and 'hostname' are required when using explicit identity")
	}
	name := r.kopia("sourceIdentity", "sourceName")
	switch {
	case hostname != "":
		// The path of a sourceIdentity counts for nothing beside an explicit hostname.
		return kopiaIdentity{username, hostname, ""}, nil
	case name == "":
		return kopiaIdentity{usernameOf(r.GetName()), hostnameOf(r.GetNamespace(), r.GetName()), ""}, nil
	}
	namespace := firstText(r.kopia("sourceIdentity", "sourceNamespace"), r.GetNamespace())
	path := r.kopia("sourceIdentity", "sourcePathOverride")
	if path == "" && r.kopia("sourceIdentity", "sourcePVCName") == "" {
		path = v.discover(namespace, name, "sourcePathOverride")
	}
	return kopiaIdentity{usernameOf(name), hostnameOf(namespace, name), path}, nil
}

// repositoryOf is the Secret that opens a mover's repository. A destination without one takes that of the
// source that it names.
func (v *VolSync) repositoryOf(r *replication) string {
	name := r.kopia("sourceIdentity", "sourceName")
	if r.kopia("repository") != "" || r.isSource() || name == "" || r.kopia("sourceIdentity", "sourcePVCName") != "" {
		return r.kopia("repository")
	}
	return v.discover(firstText(r.kopia("sourceIdentity", "sourceNamespace"), r.GetNamespace()), name, "repository")
}

// discover reads a field of a ReplicationSource's Kopia block, empty where there is none.
func (v *VolSync) discover(namespace, name, field string) string {
	object, err := v.sources.ByNamespace(namespace).Get(name)
	if err != nil {
		return ""
	}
	return (&replication{object.(*unstructured.Unstructured)}).kopia(field)
}

// usernameOf keeps letters, digits, - and _ of an object's name, trims, and then cuts at 50 bytes.
func usernameOf(name string) string {
	kept := strings.Trim(keepCharacters(name, "-_"), "-_")
	return firstText(kept[:min(len(kept), 50)], "volsync-default")
}

// hostnameOf is the namespace, or what else there is.
func hostnameOf(namespace, name string) string {
	clean := func(text string) string {
		return strings.Trim(keepCharacters(strings.ReplaceAll(text, "_", "-"), "-."), "-.")
	}
	return firstText(clean(namespace), clean(name), "volsync-default")
}

func keepCharacters(text, others string) string {
	return strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(others, c) {
			return c
		}
		return -1
	}, text)
}

// firstText is the first that is not empty.
func firstText(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
