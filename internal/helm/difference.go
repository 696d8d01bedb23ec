package helm

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v4/pkg/action"
	releasecommon "helm.sh/helm/v4/pkg/release/common"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Difference names what a deployment of the target would change, in the chart's order: objects that are gone, that differ from
// what the chart says or from what the cluster would make of it, and that the chart no longer has. Hooks don't count. It is
// empty when there is nothing to do. The cluster is asked by a server-side dry run, two requests an object.
func (c *Client) Difference(ctx context.Context, target Target) ([]string, error) {
	session, err := c.session(ctx, target.Namespace)
	if err != nil {
		return nil, err
	}
	revisions, err := history(ctx, session.Releases, target.Namespace, target.Name)
	if err != nil {
		return nil, err
	}
	if len(revisions) == 0 {
		return []string{fmt.Sprintf("release %s/%s: is not installed", target.Namespace, target.Name)}, nil
	}
	newest := revisions[0]
	wanted, err := c.wanted(ctx, session, target, newest)
	if err != nil {
		return nil, err
	}
	had, err := parse(newest.Manifest)
	if err != nil {
		return nil, err
	}
	lines := ofRelease(target, newest)
	changed, err := c.compareAll(ctx, target, wanted, had)
	if err != nil {
		return nil, err
	}
	gone, err := c.survivors(ctx, target, revisions, wanted)
	return slices.Concat(lines, changed, gone), err
}

// ofRelease is what differs in the release itself.
func ofRelease(target Target, newest *releasev1.Release) []string {
	var lines []string
	if newest.Info.Status != releasecommon.StatusDeployed {
		lines = append(lines, fmt.Sprintf("release %s/%s: revision %d is %s", target.Namespace, target.Name, newest.Version, newest.Info.Status))
	}
	name, version, _ := chartOf(newest)
	if name != target.Chart.Name || version != target.Chart.Version {
		lines = append(lines, fmt.Sprintf("chart %s %s: takes the place of %s %s", target.Chart.Name, target.Chart.Version, name, version))
	}
	return lines
}

// candidate is an object as the chart has it.
type candidate struct {
	*unstructured.Unstructured
	// definition: it is of a crds/ folder, and no part of the release.
	definition bool
	// random: it comes out differently each time that the chart is rendered, so only its absence is a difference.
	random bool
}

// wanted renders the chart twice: what differs between the two is made up by the templates, as passwords and certificates are.
func (c *Client) wanted(ctx context.Context, session *action.Configuration, target Target, newest *releasev1.Release) ([]candidate, error) {
	first, err := c.render(ctx, session, target, newest)
	if err != nil {
		return nil, err
	}
	second, err := c.render(ctx, session, target, newest)
	if err != nil {
		return nil, err
	}
	found, err := definitions(first.definitions)
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, definition := range found {
		all = append(all, candidate{Unstructured: definition, definition: true})
	}
	objects, err := first.objects()
	if err != nil {
		return nil, err
	}
	again, err := second.objects()
	if err != nil {
		return nil, err
	}
	once := byIdentity(again, target.Namespace)
	for _, object := range objects {
		same := once[identity(object, target.Namespace)]
		all = append(all, candidate{Unstructured: object, random: same == nil || !reflect.DeepEqual(same.Object, object.Object)})
	}
	return all, nil
}

// objects are those of the release, without hooks and definitions.
func (r *rendering) objects() ([]*unstructured.Unstructured, error) {
	var text strings.Builder
	for _, manifest := range r.manifests {
		fmt.Fprintf(&text, "---\n%s\n", manifest.Content)
	}
	return parse(text.String())
}

func byIdentity(objects []*unstructured.Unstructured, namespace string) map[string]*unstructured.Unstructured {
	all := map[string]*unstructured.Unstructured{}
	for _, object := range objects {
		all[identity(object, namespace)] = object
	}
	return all
}

// compareAll holds every object against what the release says of it, and against the cluster.
func (c *Client) compareAll(ctx context.Context, target Target, wanted []candidate, had []*unstructured.Unstructured) ([]string, error) {
	recorded := byIdentity(had, target.Namespace)
	lines := make([]string, len(wanted))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, each := range wanted {
		group.Go(func() error {
			before := recorded[identity(each.Unstructured, target.Namespace)]
			textual := !each.definition && !each.random && (before == nil || !reflect.DeepEqual(before.Object, each.Object))
			line, err := c.compare(within, target, each)
			if err != nil {
				return err
			}
			if line == "" && textual {
				line = describe(each.Unstructured) + ": the chart says something else than before"
			}
			lines[i] = line
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(lines, func(line string) bool { return line == "" }), nil
}

// survivors are objects that a former revision made, that the chart no longer has, and that are still there.
func (c *Client) survivors(ctx context.Context, target Target, revisions []*releasev1.Release, wanted []candidate) ([]string, error) {
	names := map[string]bool{}
	for _, each := range wanted {
		names[identity(each.Unstructured, target.Namespace)] = true
	}
	objects, err := leftovers(revisions, names)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, object := range objects {
		_, live, err := c.survivor(ctx, target, object)
		if err != nil {
			return nil, err
		}
		if live != nil {
			lines = append(lines, describe(live)+": is no longer part of the chart")
		}
	}
	return lines, nil
}
