/*
 * The sources that an answer names, as Gemini writes them: pages and documents as
 * groundingMetadata, what came as citationMetadata as that.
 * One answer at a time; nothing yields.
 * The sources own their bufs.
 * They fail only by the bufs' own flag, which is handed on to the buf that is written to.
 * Source: ai.google.dev/api/generate-content#GroundingMetadata and recorded answers.
 */
#ifndef WEIR_DIALECT_GEMINI_SOURCES_H
#define WEIR_DIALECT_GEMINI_SOURCES_H

#include "dialect/request.h"

struct gemini_sources {
    struct buf chunks;   /* members of groundingChunks */
    struct buf supports; /* of groundingSupports */
    struct buf cited;    /* of citationSources */
    bool has_segment;    /* a support says which words it is of */
};

void gemini_sources_init(struct gemini_sources *sources);
void gemini_sources_fini(struct gemini_sources *sources);
void gemini_sources_add(struct gemini_sources *sources, const struct llm_citation *citation);
/* ,"groundingMetadata":{...},"citationMetadata":{...}: those that have something to tell. */
void gemini_sources_write(const struct gemini_sources *sources, struct buf *out);

#endif
