package lab

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// environment is what the mover's container is told.
// Source: perfectra1n/volsync internal/controller/mover/kopia/mover.go: buildEnvironmentVariables and what it
// calls. (Other backends than a filesystem, actions and further arguments are left out.)
func (v *VolSync) environment(r *replication, w moverWork) []corev1.EnvVar {
	var all []corev1.EnvVar
	add := func(name, value string) {
		if value != "" {
			all = append(all, corev1.EnvVar{Name: name, Value: value})
		}
	}
	for _, key := range []string{"KOPIA_PASSWORD", "KOPIA_REPOSITORY"} {
		reference := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: w.secret}, Key: key}
		all = append(all, corev1.EnvVar{Name: key, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: reference}})
	}
	add("DATA_DIR", r.dataFolder())
	add("KOPIA_CACHE_DIR", "/cache")
	add("KOPIA_OVERRIDE_USERNAME", w.identity.username)
	add("KOPIA_OVERRIDE_HOSTNAME", w.identity.hostname)
	add("KOPIA_SOURCE_PATH_OVERRIDE", w.identity.path)
	if r.isSource() {
		add("KOPIA_PARALLELISM", r.kopiaNumber("parallelism"))
		for _, period := range []string{"latest", "hourly", "daily", "weekly", "monthly", "yearly"} {
			add("KOPIA_RETAIN_"+strings.ToUpper(period), r.kopiaNumber("retain", period))
		}
	} else {
		add("KOPIA_RESTORE_AS_OF", r.kopia("restoreAsOf"))
		add("KOPIA_PREVIOUS", r.kopiaNumber("previous"))
		if r.kopiaFlag("enableFileDeletion") {
			add("KOPIA_ENABLE_FILE_DELETION", "true")
		}
	}
	add("LAB_ORDERS", strings.Join(orderFiles(r.GetKind(), r.GetNamespace(), r.GetName()), " "))
	return all
}

// kopiaNumber is a whole number of the Kopia block as text, empty where it is not set.
func (r *replication) kopiaNumber(path ...string) string {
	number, found, err := unstructured.NestedInt64(r.Object, append([]string{"spec", "kopia"}, path...)...)
	if !found || err != nil {
		return ""
	}
	return fmt.Sprint(number)
}

// kopiaTexts is a map of the Kopia block.
func (r *replication) kopiaTexts(name string) map[string]string {
	texts, _, _ := unstructured.NestedStringMap(r.Object, "spec", "kopia", name)
	return texts
}

// securityContext is the block's moverSecurityContext, nil without one.
func (r *replication) securityContext() *corev1.PodSecurityContext {
	value, found, err := unstructured.NestedMap(r.Object, "spec", "kopia", "moverSecurityContext")
	if !found || err != nil {
		return nil
	}
	body, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	context := &corev1.PodSecurityContext{}
	if err := json.Unmarshal(body, context); err != nil {
		return nil
	}
	return context
}
