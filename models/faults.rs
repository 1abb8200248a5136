/// A mistake in the order of steps, planted into a copy of one of the gateway's files.
struct Fault {
    name: &'static str,
    /// The subject whose model finds it.
    subject: &'static str,
    /// In `src`.
    file: &'static str,
    instead_of: &'static str,
    code: &'static str,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "check_and_record_apart",
        subject: "replay",
        file: "replay/memory.rs",
        instead_of: "        shard.note(*id, key_id, end);\n",
        code: "        drop(shard);
        let shard = self.shards[usize::from(first) % SHARDS].lock();
        shard.unwrap_or_else(PoisonError::into_inner).note(*id, key_id, end);\n",
    },
    Fault {
        name: "forgotten_read_before_the_lock",
        subject: "replay",
        file: "replay/memory.rs",
        instead_of: "        let mut shard = self.shards[usize::from(first) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that a proof that another request has just made this shard forget is refused.
        let forgotten = self.forgotten();\n",
        code: "        let forgotten = self.forgotten();
        let mut shard = self.shards[usize::from(first) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);\n",
    },
    Fault {
        name: "room_counted_in_two_steps",
        subject: "replay",
        file: "replay/memory.rs",
        instead_of: "self.entries.fetch_add(1, Ordering::AcqRel) >= self.max_entries.load(Ordering::Acquire)",
        code: "{
            let full = self.entries.load(Ordering::Acquire) >= self.max_entries.load(Ordering::Acquire);
            self.entries.fetch_add(1, Ordering::AcqRel);
            full
        }",
    },
    Fault {
        name: "room_made_by_others_not_seen",
        subject: "replay",
        file: "replay/memory.rs",
        instead_of: "        if *swept < forgotten {
            for shard in &self.shards {
                let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                let dropped = shard.forget(forgotten);
                self.entries.fetch_sub(dropped, Ordering::AcqRel);
            }
            *swept = forgotten;
        }
        drop(swept);
        self.entries.load(Ordering::Acquire) < self.max_entries.load(Ordering::Acquire)\n",
        code: "        let mut dropped = 0;
        for shard in &self.shards {
            dropped += shard.lock().unwrap_or_else(PoisonError::into_inner).forget(forgotten);
        }
        self.entries.fetch_sub(dropped, Ordering::AcqRel);
        dropped > 0\n",
    },
    Fault {
        name: "restarted_before_its_beginning_is_known",
        subject: "replay",
        file: "replay/memory.rs",
        instead_of: "        self.began.store(now.0, Ordering::Release);
        self.latest.compare_exchange(latest, now.0, Ordering::AcqRel, Ordering::Acquire).ok()?;\n",
        code: "        self.latest.compare_exchange(latest, now.0, Ordering::AcqRel, Ordering::Acquire).ok()?;
        self.began.store(now.0, Ordering::Release);\n",
    },
    Fault {
        name: "restarted_by_all_who_notice",
        subject: "replay",
        file: "replay/memory.rs",
        instead_of: "        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, latest) = behind()?;
        // In this order: whoever finds the clock in step also finds the new beginning.
        self.began.store(now.0, Ordering::Release);
        self.latest.compare_exchange(latest, now.0, Ordering::AcqRel, Ordering::Acquire).ok()?;
        *swept = 0;\n",
        code: "        let (now, latest) = behind()?;
        self.began.store(now.0, Ordering::Release);
        self.latest.store(now.0, Ordering::Release);\n",
    },
    Fault {
        name: "cleared_after_the_table_is_released",
        subject: "revocations",
        file: "issuer/revocations/table.rs",
        instead_of: "            token.cleared().note(generation);\n",
        code: "            drop(entries);
            token.cleared().note(self.generation());\n",
    },
    Fault {
        name: "generation_read_after_the_answer",
        subject: "issuer",
        file: "issuer/introspection/mod.rs",
        instead_of: "        Ok((self.read(response.body(), moved_on(now, began)).await?, asked))\n",
        code: "        let generation = self.revocations.generation();
        Ok((self.read(response.body(), moved_on(now, began)).await?, Asked { generation, ..asked }))\n",
    },
    Fault {
        name: "caches_read_before_the_lock",
        subject: "issuer",
        file: "issuer/introspection/flight.rs",
        instead_of: "        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(hash)
            && flight.began.elapsed() <= max_age
            && flight.max_age <= max_age
        {
            return Ok(Joined::Flight(flight.outcome.clone()));
        }
        // A call that has ended since the caller checked has left its result in a cache.
        if let Some(token) = self.remembered(hash, Some(max_age)) {
            return Ok(Joined::Known(Ok(token)));
        }\n",
        code: "        if let Some(token) = self.remembered(hash, Some(max_age)) {
            return Ok(Joined::Known(Ok(token)));
        }
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(hash)
            && flight.began.elapsed() <= max_age
            && flight.max_age <= max_age
        {
            return Ok(Joined::Flight(flight.outcome.clone()));
        }\n",
    },
    Fault {
        name: "flight_ended_before_its_result_is_cached",
        subject: "issuer",
        file: "issuer/introspection/flight.rs",
        instead_of: "            let Landing { introspector, hash, place, .. } = &landing;
            let outcome = match introspector.shared((hash, ids), max_age, now).await {
                Some(token) => Ok(token),
                None => introspector.ask(&token, (hash, ids), place, now).await,
            };
            drop(landing);\n",
        code: "            let (introspector, hash) = (landing.introspector.clone(), landing.hash);
            drop(landing);
            let Ok(place) = introspector.take_place(asker) else { return };
            let outcome = introspector.ask(&token, (&hash, ids), &place, now).await;\n",
    },
    Fault {
        name: "place_freed_after_the_outcome",
        subject: "issuer",
        file: "issuer/introspection/flight.rs",
        instead_of: "            drop(landing);
            sender.send_replace(Some(outcome));\n",
        code: "            sender.send_replace(Some(outcome));
            drop(landing);\n",
    },
    Fault {
        name: "place_checked_and_taken_apart",
        subject: "issuer",
        file: "issuer/introspection/places.rs",
        instead_of: "        taken.total = taken.total.saturating_add(1);\n",
        code: "        drop(taken);
        let mut taken = lock(&self.taken);
        taken.total = taken.total.saturating_add(1);\n",
    },
    Fault {
        name: "ended_in_a_second_step",
        subject: "lines",
        file: "telemetry/lines/writer.rs",
        instead_of: "                let mut batch = self.shared.lock();
                if batch.bytes.is_empty() {
                    batch.ended = true;
                    break;
                }\n",
        code: "                let empty = self.shared.lock().bytes.is_empty();
                if empty {
                    self.shared.lock().ended = true;
                    break;
                }\n",
    },
    Fault {
        name: "sleep_noted_in_a_second_step",
        subject: "lines",
        file: "telemetry/lines/writer.rs",
        instead_of: "            batch.sleep = Sleep::UntilWork;
            if !self.troubled {\n",
        code: "            drop(batch);
            batch = shared.lock();
            batch.sleep = Sleep::UntilWork;
            if !self.troubled {\n",
    },
    Fault {
        name: "place_of_the_switch_read_before_the_lock",
        subject: "lines",
        file: "telemetry/lines/mod.rs",
        instead_of: "        let mut batch = self.0.lock();
        let place = batch.next.take().map_or(batch.bytes.len(), |(place, _)| place);\n",
        code: "        let length = self.0.lock().bytes.len();
        let mut batch = self.0.lock();
        let place = batch.next.take().map_or(length, |(place, _)| place);\n",
    },
    Fault {
        name: "room_checked_before_the_lock",
        subject: "lines",
        file: "telemetry/lines/mod.rs",
        instead_of: "        let mut batch = self.0.lock();
        // Only the thread subtracts, so that the sum cannot be too small.
        if batch.ended || health.held.load(Ordering::Relaxed).saturating_add(line.len()) > health.bound {\n",
        code: "        let full = health.held.load(Ordering::Relaxed).saturating_add(line.len()) > health.bound;
        let mut batch = self.0.lock();
        if batch.ended || full {\n",
    },
];
