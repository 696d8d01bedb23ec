package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"text/template"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/lab/crds"
)

// PolicyOptions fill in the platform's policies.
type PolicyOptions struct {
	// PlumberURL is where PVC Plumber is asked, without a slash at the end; see Stack.Plumber.
	PlumberURL string
	// NFSServer and NFSPath are the export that is mounted into movers.
	NFSServer, NFSPath string
	// BackupAfter is the age from which a claim is backed up: 2 hours, as on the platform, when it is zero.
	BackupAfter time.Duration
}

const defaultBackupAfter = 2 * time.Hour

// ApplyPlatformPolicies applies the ClusterPolicies volsync-pvc-backup-restore and volsync-nfs-inject with
// the rights that Kyverno needs for them, and returns when the API server asks Kyverno about claims and
// Jobs. VolSync's definitions (Kubernetes.ApplyCRDs) must be there. BackupAfter can't be changed by a second
// call: Kyverno refuses changes of a generate rule. Source: kyverno pkg/validation/policy/generate.go.
func (v *Kyverno) ApplyPlatformPolicies(ctx context.Context, o PolicyOptions) error {
	if o.BackupAfter == 0 {
		o.BackupAfter = defaultBackupAfter
	}
	rights, err := renderPolicies("rights", o)
	if err != nil {
		return err
	}
	if err := v.applier.Apply(ctx, rights...); err != nil {
		return err
	}
	var policies []*unstructured.Unstructured
	for _, name := range []string{"volsync-pvc-backup-restore", "volsync-nfs-inject"} {
		objects, err := renderPolicies(name, o)
		if err != nil {
			return err
		}
		policies = append(policies, objects...)
	}
	if err := v.applyPolicies(ctx, policies); err != nil {
		return err
	}
	for _, policy := range policies {
		if err := poll(ctx, "wait for "+describe(policy), func(ctx context.Context) error { return v.isReady(ctx, policy) }); err != nil {
			return err
		}
	}
	return poll(ctx, "wait for the webhooks of the platform's policies", v.isAsked)
}

// applyPolicies tries again only for what passes by itself: Kyverno checks the rights of its accounts, which
// the controller-manager puts together meanwhile. Source: kyverno pkg/policy/auth/auth.go.
func (v *Kyverno) applyPolicies(ctx context.Context, policies []*unstructured.Unstructured) error {
	var refused error
	err := poll(ctx, "apply the platform's policies", func(ctx context.Context) error {
		err := v.applier.Apply(ctx, policies...)
		if err == nil || strings.Contains(err.Error(), "requires permissions") {
			return err
		}
		refused = err
		return nil
	})
	return errors.Join(err, refused)
}

// renderPolicies gives one file of the platform's. Its delimiters are not Go's own, which are Kyverno's too.
func renderPolicies(name string, o PolicyOptions) ([]*unstructured.Unstructured, error) {
	file := path.Join("platform", "kyverno", name+".yaml")
	text, err := platformFiles.ReadFile(file)
	if err != nil {
		return nil, wrap(err, "read "+file)
	}
	parsed, err := template.New(name).Delims("<<", ">>").Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, wrap(err, "read "+file)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, o); err != nil {
		return nil, wrap(err, "fill in "+file)
	}
	objects, err := crds.Decode(out.Bytes())
	return objects, wrap(err, "decode "+file)
}

func (v *Kyverno) isReady(ctx context.Context, policy *unstructured.Unstructured) error {
	live, err := v.applier.Get(ctx, policy)
	if err != nil {
		return err
	}
	conditions, _, err := unstructured.NestedSlice(live.Object, "status", "conditions")
	if err != nil {
		return err
	}
	for _, condition := range conditions {
		if fields, ok := condition.(map[string]any); ok && fields["type"] == "Ready" && fields["status"] == string(metav1.ConditionTrue) {
			return nil
		}
	}
	return fmt.Errorf("lab: %s is not Ready: %v", describe(policy), conditions)
}

// isAsked is true once both webhook configurations name claims and a mover's Job is changed on its way in:
// Ready is said a moment before the API server knows.
func (v *Kyverno) isAsked(ctx context.Context) error {
	registration := v.client.AdmissionregistrationV1()
	validating, err := registration.ValidatingWebhookConfigurations().Get(ctx, "kyverno-resource-validating-webhook-cfg", metav1.GetOptions{})
	if err != nil {
		return err
	}
	asked := false
	for _, webhook := range validating.Webhooks {
		for _, rule := range webhook.Rules {
			asked = asked || slices.Contains(rule.Resources, "persistentvolumeclaims")
		}
	}
	mutating, err := registration.MutatingWebhookConfigurations().Get(ctx, "kyverno-resource-mutating-webhook-cfg", metav1.GetOptions{})
	if err != nil {
		return err
	}
	changed := false
	for _, webhook := range mutating.Webhooks {
		for _, rule := range webhook.Rules {
			changed = changed || slices.Contains(rule.Resources, "persistentvolumeclaims")
		}
	}
	if !asked || !changed {
		return fmt.Errorf("lab: claims are not in both of Kyverno's webhook configurations (validating %t, mutating %t)", asked, changed)
	}
	return v.injects(ctx)
}

// injects sends a mover's Job through admission, without making it.
func (v *Kyverno) injects(ctx context.Context) error {
	objects, err := crds.Decode([]byte(probeJob))
	if err != nil {
		return err
	}
	resource, err := v.applier.resource(objects[0].GroupVersionKind(), metav1.NamespaceDefault)
	if err != nil {
		return err
	}
	created, err := resource.Create(ctx, objects[0], metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return err
	}
	if volumes, _, _ := unstructured.NestedSlice(created.Object, "spec", "template", "spec", "volumes"); len(volumes) == 0 {
		return errors.New("lab: no volume was added to a mover's Job")
	}
	return nil
}

const probeJob = `apiVersion: batch/v1
kind: Job
metadata: {name: drctl-lab-probe, namespace: default, labels: {app.kubernetes.io/created-by: volsync}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: mover, image: none.invalid/mover}]}}}
`

// poll tries until it succeeds, for startTimeout at most.
func poll(parent context.Context, action string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(parent, startTimeout)
	defer cancel()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		// That the time is over says nothing of why.
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return wrap(errors.Join(ctx.Err(), last), action)
		case <-time.After(250 * time.Millisecond):
		}
	}
}
