// Reads a list of custom resources as JSON, and writes what the schema of its kind says of each: null if nothing is wrong.
import { readFileSync } from "node:fs";
import * as certificates from "@kubernetes-models/cert-manager/cert-manager.io/v1";
import * as bundles from "@kubernetes-models/cert-manager/trust.cert-manager.io/v1alpha1";
import * as monitoring from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const groups = {
  "cert-manager.io/v1": certificates,
  "trust.cert-manager.io/v1alpha1": bundles,
  "monitoring.coreos.com/v1": monitoring,
};

function problem(object) {
  const Kind = groups[object.apiVersion]?.[object.kind];
  if (!Kind) return `there is no schema of ${object.apiVersion} ${object.kind}`;
  try {
    new Kind(object).validate();
    return null;
  } catch (error) {
    return error.message;
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(problem)));
