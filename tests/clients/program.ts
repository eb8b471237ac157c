// What a user writes with openapi-fetch and the types that openapi-typescript generates.
// The test generates api.ts, type-checks this file against it and runs it.
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Schemas = components["schemas"];
// The format that is asked for, where there are several.
const api = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl: process.argv[2] as string,
});
const files = process.argv[3] as string;
const parquet = process.argv[4] as string;

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`not so: ${what}`);
}

/** The answer, or an exception that says what the problem is. */
function ok<T>(reply: { data?: T; error?: unknown }): T {
  if (reply.data === undefined) throw new Error(JSON.stringify(reply.error));
  return reply.data;
}

/** The body of a form: the generator calls a file string, as the document cannot say File. */
function form(body: { file: string[] }): FormData {
  const data = new FormData();
  for (const [name, given] of Object.entries(body)) {
    for (const value of [given].flat()) data.append(name, value as string | Blob);
  }
  return data;
}

const asBytes = (body: unknown) => body as BodyInit;

async function upload(name: string): Promise<Schemas["DatasetReply"]> {
  const file = new File([await readFile(`${files}/${name}.csv`)], `${name}.csv`);
  const record = ok(
    await api.POST("/v1/datasets", {
      body: { file: [file as unknown as string] },
      bodySerializer: (body) => form(body as Schemas["DatasetForm"]),
    }),
  );
  check(record.name === name && record.source.format === "csv", "a form");
  return record;
}

async function otherBodies(): Promise<void> {
  const columns = { x: [0, 1], y1: [1, null] };
  const json = ok(await api.POST("/v1/datasets", { body: { name: "json", columns } }));
  const values = ok(
    await api.GET("/v1/datasets/{dataset_id}/values", {
      params: { path: { dataset_id: json.id } },
    }),
  );
  check(values.columns["y1"]?.[1] === null, "a gap");
  const bytes = new Uint8Array(await readFile(parquet));
  for (const [type, body] of [
    ["text/csv", "x,y\n1,2\n"],
    ["application/vnd.apache.parquet", bytes as unknown as string],
  ] as const) {
    const plain = ok(
      await api.POST("/v1/datasets", {
        params: { query: { name: type } },
        headers: { "Content-Type": type },
        body,
        bodySerializer: asBytes,
      }),
    );
    check(plain.name === type, type);
  }
}

async function fitAndPoll(training_id: string, ideal_id: string): Promise<Schemas["FitReply"]> {
  const first = ok(await api.POST("/v1/fits", { body: { training_id, ideal_id } }));
  check(first.state === "succeeded" && first.error === null, "a fit at once");
  // A record's words can be posted again.
  const { criterion, transform, alignment, outside, x_tolerance, top_k } = first;
  let fit = ok(
    await api.POST("/v1/fits", {
      params: { header: { Prefer: "respond-async" } },
      body: { training_id, ideal_id, criterion, transform, alignment, outside, x_tolerance, top_k },
    }),
  );
  for (let i = 0; i < 1200 && (fit.state === "queued" || fit.state === "running"); i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    fit = ok(await api.GET("/v1/fits/{fit_id}", { params: { path: { fit_id: fit.id } } }));
  }
  check(fit.state === "succeeded", "a fit as a job");
  return fit;
}

async function readAnswers(fit: Schemas["FitReply"], test_id: string): Promise<void> {
  const path = { fit_id: fit.id };
  const matches = ok(await api.GET("/v1/fits/{fit_id}/matches", { params: { path } }));
  check(matches.items.every((match) => match.rank === 1), "matches");
  const mapping = ok(await api.POST("/v1/mappings", { body: { fit_id: fit.id, test_id } }));
  const points = ok(
    await api.GET("/v1/mappings/{mapping_id}/points", {
      params: { path: { mapping_id: mapping.id }, query: { status: "unmapped" } },
    }),
  );
  const reasons: (Schemas["UnmappedReason"] | null)[] = points.items.map((point) => point.reason);
  check(!reasons.includes(null), "reasons");
  const body = { x: [0, null], y: [1, 2] };
  const outcome = ok(await api.POST("/v1/fits/{fit_id}/evaluate", { params: { path }, body }));
  check(outcome.n_points === 2, "an evaluation");
  const plot = ok(
    await api.GET("/v1/mappings/{mapping_id}/plot", {
      params: { path: { mapping_id: mapping.id } },
      headers: { Accept: "application/json" },
    }),
  );
  check(plot.root_id.length > 0 && plot.version.startsWith("3."), "a plot as JSON");
  const file = ok(
    await api.GET("/v1/mappings/{mapping_id}/export", {
      params: { path: { mapping_id: mapping.id } },
      parseAs: "blob",
    }),
  );
  check((await file.slice(0, 15).text()) === "SQLite format 3", "an export");
}

async function meetProblems(fit: Schemas["FitReply"]): Promise<void> {
  const body = { training_id: "unheard-of", ideal_id: fit.ideal_id };
  const { error } = await api.POST("/v1/fits", { body });
  check(error?.status === 422 && error.errors[0]?.pointer === "/training_id", "a problem");
  const path = { dataset_id: fit.training_id };
  const rename = (tag: string) =>
    api.PATCH("/v1/datasets/{dataset_id}", {
      params: { path, header: { "If-Match": tag } },
      body: { name: "new" },
    });
  const stale = await rename('"99"');
  check(stale.error?.status === 412, "a stale version");
  const current = await api.GET("/v1/datasets/{dataset_id}", { params: { path } });
  const changed = await rename(current.response.headers.get("ETag") ?? "");
  check(changed.data?.name === "new", "a change");
  const same = await api.GET("/v1/datasets/{dataset_id}", {
    params: { path, header: { "If-None-Match": changed.response.headers.get("ETag") ?? "" } },
  });
  check(same.response.status === 304, "not modified");
  const bad = await api.POST("/v1/datasets", {
    headers: { "Content-Type": "text/csv" },
    body: "x,y\n1,a\n",
    bodySerializer: asBytes,
  });
  const slug = bad.error?.type.split("/").pop() ?? "";
  const explained = ok(await api.GET("/problems/{slug}", { params: { path: { slug } } }));
  check(explained.title === bad.error?.title, "an explanation");
}

const training = await upload("training");
const ideal = await upload("ideal");
const test = await upload("test");
await otherBodies();
const fit = await fitAndPoll(training.id, ideal.id);
await readAnswers(fit, test.id);
await meetProblems(fit);
console.log("all of it works");
