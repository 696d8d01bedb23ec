package app

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/cloudnativepg"
	"github.com/drctl/drctl/internal/cnpg/flip"
)

// flipRenderer knows CloudNativePG's manifests.
type flipRenderer struct{}

// Recovery makes the Cluster that recovers.
func (flipRenderer) Recovery(manifest json.RawMessage, o flip.RenderOptions) (json.RawMessage, []string, error) {
	object, err := decodeManifest(manifest)
	if err != nil {
		return nil, nil, err
	}
	rendered, warnings, err := cloudnativepg.RenderRecovery(object, cloudnativepg.RecoveryOptions{
		PlanID: o.PlanID, SourceServer: o.SourceServer, ArchiveServer: o.ArchiveServer, BackupID: o.BackupID, TargetTime: o.TargetTime, NewName: o.NewName,
	})
	if err != nil {
		return nil, warnings, err
	}
	out, err := rendered.MarshalJSON()
	return out, warnings, err
}

// Settled is the manifest with another write server.
func (flipRenderer) Settled(manifest json.RawMessage, server string) (json.RawMessage, error) {
	object, err := decodeManifest(manifest)
	if err != nil {
		return nil, err
	}
	settled, err := cloudnativepg.WithWriteServer(object, server)
	if err != nil {
		return nil, err
	}
	return settled.MarshalJSON()
}

// Describe gives what of a manifest a recovery needs.
func (flipRenderer) Describe(manifest json.RawMessage) (flip.Described, error) {
	object, err := decodeManifest(manifest)
	if err != nil {
		return flip.Described{}, err
	}
	server, plugin, err := cloudnativepg.WriteServer(object)
	d := flip.Described{
		Namespace: object.GetNamespace(), Name: object.GetName(), WriteServer: server, Plugin: plugin, Bootstrap: cloudnativepg.Bootstrap(object),
	}
	if err != nil && !cloudnativepg.HasRecovery(object) {
		return d, err
	}
	recovered, err := cloudnativepg.RecoveryOf(object)
	if err != nil {
		return d, err
	}
	d.RecoveredServer, d.RecoveredBackup, d.RecoveredTarget = recovered.Server, recovered.BackupID, recovered.TargetTime
	text := func(fields ...string) string {
		value, _, _ := unstructured.NestedString(object.Object, fields...)
		return value
	}
	d.StorageClass, d.WALStorageClass = text("spec", "storage", "storageClass"), text("spec", "walStorage", "storageClass")
	for _, method := range []string{"recovery", "initdb"} {
		if database := text("spec", "bootstrap", method, "database"); d.Database == "" {
			d.Database = database
		}
	}
	if d.Database == "" {
		d.Database = "app" // CloudNativePG's default
	}
	return d, nil
}

// NextServer is the next clean name.
func (flipRenderer) NextServer(current string, taken []string) string {
	return cloudnativepg.NextServer(current, taken)
}

// Explain decodes an error of a recovery's log.
func (flipRenderer) Explain(log string) (cause, fix string, ok bool) {
	failure, ok := cloudnativepg.ExplainRecovery(log)
	return failure.Cause, failure.Fix, ok
}

// Progress is how far a recovery is.
func (flipRenderer) Progress(log string) string { return cloudnativepg.RecoveryProgress(log) }

// DropsTimelines says whether the operator is one of those that lose timelines on recovery.
func (flipRenderer) DropsTimelines(image string) (bool, string) {
	return cloudnativepg.DropsTimelines(image)
}

func decodeManifest(manifest json.RawMessage) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(manifest); err != nil {
		return nil, fmt.Errorf("read the Cluster's manifest: %w", err)
	}
	return object, nil
}
