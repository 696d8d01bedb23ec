package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// blockers says what holds the lowest wave back: what Argo CD could not sync, and what is not healthy in the
// namespaces of its Applications.
func (b *Bootstrap) blockers(ctx context.Context, w *Waves, unread *recovery.Gaps) []Blocker {
	found := []Blocker{}
	for i := range w.Applications {
		app := &w.Applications[i]
		if app.Wave > w.Wave || app.Absent || app.AtRest() || w.makes(app) {
			continue
		}
		var troubles []recovery.Trouble
		if len(app.Namespaces) > 0 {
			var err error
			troubles, err = b.Cluster.Troubles(ctx, app.Namespaces)
			unread.Add("look what holds Application "+app.Name+" back", err)
		}
		found = append(found, refused(app, len(troubles) > 0)...)
		if len(troubles) > 0 {
			for _, trouble := range troubles {
				found = append(found, Blocker{app.Name, trouble.Object + ": " + trouble.Message, fixOf(trouble)})
			}
		}
		if app.GaveUp {
			found = append(found, Blocker{app.Name, "Argo CD gave this commit up, and will not try it again by itself", gaveUpFix(app)})
		}
	}
	return compact(found)
}

// refused are the objects that Argo CD could not sync, and what it says where it names none. That something is under
// way is not said where the cluster itself has said what it waits for.
func refused(app *WaveApplication, explained bool) []Blocker {
	var found []Blocker
	for _, object := range app.Failed {
		if explained && strings.HasPrefix(object.Message, "Progressing") {
			continue
		}
		name := object.Kind + " " + strings.TrimPrefix(object.Namespace+"/"+object.Name, "/")
		if object.Hook {
			name = "hook " + name
		}
		found = append(found, Blocker{app.Name, name + ": " + object.Message, syncFix(object)})
	}
	if len(found) == 0 && app.Message != "" && (app.Operation == "Failed" || app.Operation == "Error" || app.Sync == "Unknown") {
		fix := "kubectl -n " + app.Namespace + " describe applications.argoproj.io " + app.Name
		if strings.Contains(app.Message, "authentication required") || strings.Contains(app.Message, "repository not found") {
			fix = "give Argo CD the repository's credentials: a Secret in " + app.Namespace + " with label argocd.argoproj.io/secret-type=repository"
		}
		found = append(found, Blocker{app.Name, app.Message, fix})
	}
	return found
}

// compact drops what is said twice: the same thing shows itself in an Application and in its namespace.
func compact(all []Blocker) []Blocker {
	kept := []Blocker{}
	for _, blocker := range all {
		if !slices.Contains(kept, blocker) {
			kept = append(kept, blocker)
		}
	}
	return kept
}

// syncFix is what helps an object that the API server refused.
func syncFix(object recovery.ManagedObject) string {
	message := strings.ToLower(object.Message)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(message, part) })
	}
	claim := object.Kind == "PersistentVolumeClaim"
	switch {
	case object.Hook:
		return fmt.Sprintf("kubectl -n %s logs %s/%s, put it right in Git, then sync again", object.Namespace, strings.ToLower(object.Kind), object.Name)
	case claim && has("plumber", "failed to fetch data for apicall", "apicall"):
		return "PVC Plumber does not answer, and without it no backup could be found: kubectl -n volsync-system get pods,events; the claim is created by itself once it does"
	case claim && has("denied", "forbidden"):
		return "a policy refuses the claim: do what it asks for; kubectl get clusterpolicies,validatingadmissionpolicies"
	case has("failed calling webhook", "no endpoints available", "connection refused", "context deadline exceeded"):
		return "a webhook does not answer; its controller must be up first: kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"
	case has("no matches for kind", "the server could not find the requested resource", "resource mapping not found"):
		return "the CustomResourceDefinition is not there: its Application belongs into an earlier wave"
	case has("namespaces ", "not found") && has("namespace"):
		return "the namespace is not there: add it to the Application, or syncOptions CreateNamespace=true"
	case has("quota"):
		return "a ResourceQuota is used up: kubectl -n " + object.Namespace + " describe resourcequota"
	case has("field is immutable", "immutable"):
		return "the live object can't become what Git says: delete it, so that it is made anew"
	}
	return fmt.Sprintf("kubectl -n %s describe %s %s", object.Namespace, strings.ToLower(object.Kind), object.Name)
}

func gaveUpFix(app *WaveApplication) string {
	return fmt.Sprintf("once the cause is gone: kubectl -n %s patch applications.argoproj.io %s --type merge -p '{\"operation\":{\"sync\":{\"revision\":\"%s\"}}}'", app.Namespace, app.Name, app.SyncRevision)
}

// fixOf is what helps against what holds a Pod or a claim back.
func fixOf(t recovery.Trouble) string {
	kind, name, _ := strings.Cut(t.Object, " ")
	namespace, object, _ := strings.Cut(name, "/")
	describe := fmt.Sprintf("kubectl -n %s describe %s %s", namespace, strings.ToLower(kind), object)
	switch t.Kind {
	case recovery.TroubleImage:
		return "is the image's name right, the registry reachable, an imagePullSecret needed? " + describe
	case recovery.TroubleSecret:
		if t.Missing == "" {
			return describe
		}
		return fmt.Sprintf("bring Secret %s/%s: put it into the folder of --secrets and run drctl bootstrap again", namespace, t.Missing)
	case recovery.TroubleConfigMap:
		return "the ConfigMap belongs into Git beside what needs it; " + describe
	case recovery.TroubleCrash:
		return fmt.Sprintf("kubectl -n %s logs %s --previous", namespace, object)
	case recovery.TroubleUnscheduled:
		return "no node takes it: kubectl describe nodes"
	case recovery.TroublePending:
		return "is there its storage class, and the driver up? " + describe
	case recovery.TroubleVolume:
		return "is the storage up, and the volume not held by another node? " + describe
	case recovery.TroubleJob:
		return fmt.Sprintf("kubectl -n %s logs job/%s", namespace, object)
	case recovery.TroubleCreation:
		return "its controller may not create Pods: " + describe
	case recovery.TroubleNotReady:
		return fmt.Sprintf("kubectl -n %s logs %s", namespace, object)
	}
	return describe
}
